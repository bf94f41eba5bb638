"""The report's page: what a run's folder holds, as one HTML file that needs nothing else.

`run` reads the folder, `media` turns files into data: URIs, `charts` draws curves. `summary`, `tables`, `videos`,
`results` and `machine` make a section of each thing that is there, `page` puts them into the templates; `published`
quotes the figures of others. It measures nothing and knows no model: it imports `runtime` alone, and `eval.report`
calls it.
"""
