"""Stands in for the package: a database whose values are looked up by the letters that they share with a keyword."""

VALUES = {
    "customers": {"city": ["Rome", "Milan", "Turin"], "segment": ["private", "business"]},
    "schools": {"county": ["Alameda", "Fresno", "Los Angeles"], "district": ["Oakland Unified", "Fremont Union"]},
    "orders": {"status": ["open", "shipped", "cancelled"], "channel": ["shop", "web site"]},
}


class Database:
    """What ``ThothDbFactory`` returns."""

    def __init__(self, db_id: str, schema: str) -> None:
        self.db_id = db_id
        self.schema = schema

    def query_lsh(self, keyword: str, signature_size: int, top_n: int) -> dict[str, dict[str, list[str]]]:
        """Return values that resemble a keyword, by table and column."""
        wanted = set(keyword.lower())
        found: dict[str, dict[str, list[str]]] = {}
        for table, columns in VALUES.items():
            for column, values in columns.items():
                near = [value for value in values if len(wanted & set(value.lower())) * signature_size >= 200]
                if near:
                    found.setdefault(table, {})[column] = near[:top_n]
        return found


class ThothDbFactory:
    """Makes databases."""

    @staticmethod
    def create_manager(database_name: str, schema: str = "", **_: object) -> Database:
        """Return the database of a workspace."""
        return Database(database_name, schema)
