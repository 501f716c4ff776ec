"""The floor: a handler that decides nothing."""


def handler(event, context):
    return {}
