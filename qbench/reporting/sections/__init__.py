"""The sections of the page: each function returns its parts, none if it has nothing to say."""
