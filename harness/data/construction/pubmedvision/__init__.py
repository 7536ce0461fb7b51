"""PubMedVision: figures of articles with captions, reformatted into descriptions and dialogues."""
