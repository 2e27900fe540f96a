"""The console: a page for people, which uses the same API as everybody."""
