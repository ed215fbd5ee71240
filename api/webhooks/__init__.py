"""Webhooks: reporting the end of a job to its `webhook_url`, by the Standard Webhooks convention.

Every api process delivers, as a task beside its requests. Leases in the job record share the work among them.
"""
