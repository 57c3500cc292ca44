"""Programs that run in the sandbox, by any Python from 3.9: standard library alone, never imported by the others."""
