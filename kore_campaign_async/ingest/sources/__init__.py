"""One module per kind of input, each yielding numbered slices of records; `opening` chooses among them."""
