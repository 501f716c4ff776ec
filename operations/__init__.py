"""What `manage.py` does, a module a noun. Not shipped to Lambda."""
