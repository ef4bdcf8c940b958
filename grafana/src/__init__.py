"""Grafana dashboards as code; `python -m grafana.src` writes their JSON."""
