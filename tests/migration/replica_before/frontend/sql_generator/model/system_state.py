"""What is known of a question so far."""

from dataclasses import dataclass, field
from typing import Any

from thoth_qdrant import ThothType

from helpers.main_helpers.main_schema_extraction_from_lsh import extract_schema_via_lsh
from helpers.vectordb_utils import query_vector_db_for_columns_data


@dataclass
class SystemState:
    """The question, the services that it is answered with, and what each phase found."""

    question: str
    workspace_name: str
    dbmanager: Any
    vdbmanager: Any
    vdbmanager_status: str
    keywords: list[str] = field(default_factory=list)
    full_schema: dict = field(default_factory=dict)
    similar_columns: dict = field(default_factory=dict)
    schema_with_examples: dict = field(default_factory=dict)
    schema_from_vector_db: dict = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    sql_shots: list[tuple[str, str]] = field(default_factory=list)
    last_SQL: str = "SELECT 1"

    def get_evidence_from_vector_db(self) -> tuple[bool, list[str], str]:
        """Find evidence, and return whether that worked, what was found, and otherwise why not."""
        try:
            found = self._search(ThothType.EVIDENCE, 3, 0.35)
        except Exception as e:
            return False, [], f"Evidence: {e}"
        self.evidence = [document.evidence for document in found]
        return True, self.evidence, ""

    def get_sql_from_vector_db(self) -> tuple[bool, list[tuple[str, str]], str]:
        """Find examples of SQL, and return whether that worked, what was found, and otherwise why not."""
        try:
            found = self._search(ThothType.SQL, 5, 0.1)
        except Exception as e:
            return False, [], f"SQL examples: {e}"
        self.sql_shots = [(document.question, document.sql) for document in found]
        return True, self.sql_shots, ""

    def extract_schema_via_lsh(self) -> None:
        """Compare names of columns and values with the question."""
        self.similar_columns, self.schema_with_examples = extract_schema_via_lsh(self)

    def extract_schema_from_vectordb(self) -> None:
        """Search for columns, with one query for each keyword."""
        for keyword in self.keywords:
            for table, columns in query_vector_db_for_columns_data(self.vdbmanager, keyword, top_k=10).items():
                self.schema_from_vector_db.setdefault(table, {}).update(columns)

    def _search(self, doc_type: ThothType, top_k: int, score_threshold: float) -> list:
        query = " ".join(self.keywords)
        return self.vdbmanager.search_similar(
            query=query, doc_type=doc_type, top_k=top_k, score_threshold=score_threshold
        )
