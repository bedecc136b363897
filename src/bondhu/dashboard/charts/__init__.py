"""Pictures that the pages need beside those of the report: lines over time, heat maps, bars, the ladder."""
