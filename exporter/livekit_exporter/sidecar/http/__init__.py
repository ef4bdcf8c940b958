"""HTTP of the sidecar: metrics, pages and the JSON API."""
