"""A call as a document, as a webhook event, and the frame of pages for people."""
