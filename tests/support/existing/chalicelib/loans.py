from chalice import Blueprint

loans = Blueprint(__name__)


@loans.route("/", methods=["GET"])
def list_loans():
    return {"loans": ["1"]}


@loans.route("/{book_id}", methods=["POST"])
def lend(book_id):
    return {"lent": book_id}
