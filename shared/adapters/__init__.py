"""The only modules that speak to Azure; they turn its answers and errors into the project's own."""
