"""The paper's question, put to the records."""
