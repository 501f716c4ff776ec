from chalice import BadRequestError, Chalice
from itsdangerous import URLSafeSerializer

from chalicelib.loans import loans

app = Chalice(app_name="library")
app.register_blueprint(loans, url_prefix="/loans")

BOOKS = {"1": "Middlemarch", "2": "Emma"}


@app.route("/ping", cors=True)
def ping():
    return {"pong": True}


@app.route("/books")
def list_books():
    return {"books": BOOKS}


@app.route("/books/{book_id}", methods=["PUT"])
def rename_book(book_id):
    title = (app.current_request.json_body or {}).get("title")
    if not title:
        raise BadRequestError("A book needs a title.")
    return {"book": book_id, "title": title, "signed": URLSafeSerializer("shelf").dumps(book_id)}


@app.schedule("rate(1 day)")
def remind(event):
    return {"reminded": len(BOOKS)}
