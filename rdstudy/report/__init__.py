"""The report: result tables -> tidy tables -> charts -> one HTML page. Imports neither torch nor ray.

`tables` reads a study from a store, `cells` names its cells, `statistics` and `coverage` turn rows into tidy tables,
`charts` and `illustrations` draw them, `page` fills the template, `build` does all of it.
"""
