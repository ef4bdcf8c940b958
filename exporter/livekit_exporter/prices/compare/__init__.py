"""The catalogue held against public price lists, for people who look after prices.

Each list has one module that reads it into `price_list.PriceList`; `ours` does the same
for the catalogue, and `compare` is pure.  Nothing here runs in a call or in the sidecar.
"""
