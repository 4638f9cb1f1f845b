"""An experiment: what is asked, how it is run, and what may be concluded.

| question | module |
|---|---|
| what may be written | `spec`; its parts: `arm_spec`, `design_spec`, `analysis_spec` |
| what an arm is, made ready | `arms` (several models as one: `client.panel`), `phrasing` (templates) |
| | what they learn from: `tables` |
| which arm is asked what, and when | `assignment`, `calls`, `turns` |
| what it will cost and can find | `plan`; for people: `outlook`, `outlook_text`, `spending`, `detectable` |
| how it runs and survives a kill | `run`, `execution`, `journal`; `panel_call`, `part` |
| | `batch_delivery`, `batch_chunk` |
| how answers get their scores | `grading`, `later_scores`, `rescoring`; by people: `labels` |
| | by pairs: `pairwise` |
| when it stops early | `stopping`, `stopped`; what is seen meanwhile: `running`, `progress`, `traces` |
| what came of one call | `outcome_row`, `design_columns` |
| what may be concluded | `analyse`: `scores`, `comparison` (`contrast`, `looks`, `margins` |
| | `second_opinions`), `arm_summary` |
| what else may be | `subgroups`, `factors`, `front`; asked for by `analysis_plan`, `planned_analysis` |
| | kept by `analysis` |
| how it is said | `verdict`, `wording`, `result_table`, `samples`, `ledger` |
| how a router is trained and stands | `training`, `standing` |
"""
