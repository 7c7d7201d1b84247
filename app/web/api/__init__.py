"""The JSON API below /api/v1: the same readings as the pages, described by openapi.json."""
