"""The tables and columns of a database, from the backend."""

import os

import httpx


def get_db_schema(db_id: str, db_schema: str) -> dict:
    """Return the columns by table, each with its description."""
    headers = {"X-API-KEY": os.environ["DJANGO_API_KEY"]}
    with httpx.Client(trust_env=False, headers=headers, timeout=10.0) as client:
        answer = client.get(f"{os.environ['DJANGO_SERVER']}/api/sqldb/{db_id}/tables/")
    answer.raise_for_status()
    return answer.json()
