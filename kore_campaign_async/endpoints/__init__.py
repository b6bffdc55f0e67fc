"""What is known of each endpoint: one pure module each, `build` -> Request and `parse` of its Response."""
