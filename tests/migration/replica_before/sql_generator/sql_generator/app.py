"""The HTTP interface."""

from fastapi import FastAPI
from pydantic import BaseModel

from sql_generator.linking import find_evidence, link_columns

app = FastAPI()


class GenerateSqlRequest(BaseModel):
    """The body of ``POST /generate-sql``."""

    question: str
    workspace_id: int
    functionality_level: str = "BASIC"
    flags: dict[str, bool] = {}


@app.get("/health")
async def health() -> dict:
    """Tell that the process lives."""
    return {"status": "healthy"}


@app.post("/generate-sql")
async def generate_sql(request: GenerateSqlRequest) -> dict:
    """Return what the question is about; the rest of the service makes SQL of it."""
    columns = link_columns(request.question)
    evidence = find_evidence(request.question, columns)
    return {"columns": columns, "evidence": evidence}
