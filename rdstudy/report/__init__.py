"""The report: result tables -> tidy tables -> charts -> one HTML page. Imports neither torch nor ray.

`read` reads a study from a store, `cells` names its cells, `statistics`, `measures` and `coverage` turn rows into
tidy tables. Each file of `figures` is one figure; `theme`, `plane`, `curves` and `gaps` draw what figures share.
`contents` says what stands on a page, `page` fills the template, `build` does all of it; `notebook` gives one figure.
"""
