"""The room of the reports: what a person asks the ledger, and how the answer is shown.

Questions are answered by pure functions over rows; `report` is the one shape of every
answer, and `show` and its neighbours turn it into tables, files and charts.
"""
