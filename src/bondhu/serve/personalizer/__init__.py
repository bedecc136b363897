"""The calls of Azure AI Personalizer, which was retired, answered by a deployment: its clients need another address.

`docs/personalizer.md` says field by field what is the same and what is not.
"""
