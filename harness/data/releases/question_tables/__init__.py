"""Questions of one's own in a table: CSV, TSV, JSON, JSON lines, parquet, LLaVA's chats and VLMEvalKit's TSV."""
