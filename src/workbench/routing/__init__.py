"""Which model should each prompt go to: routers, their training and their measures.

| question | module |
|---|---|
| what a router is, and how it decides | `base`, `decide`, `forecast`, `randomised`, `draw` |
| which kinds there are | `registry` |
| baselines | `baselines`, `label_oracle`, `neighbours`, `clusters`, `linear`, `perceptron` |
| | `factorisation`, `descent`, `adam` |
| the controller | `controller`; fitted by `train`, `lesson`, `withheld`; heads: `ridge`, `network` |
| | `nearest`, `task_head`, `projection` |
| what its heads mean together | `model_space`, `stacking`, `familiarity`, `spend` |
| | a further model: `new_model` |
| an aim, and what must hold | `aim`, `limits`, `operating_point`, `constraints`, `policy`, `policy_file` |
| routing by answers | `cascade`, `cascade_training`, `agreement`, `agreement_rule`, `cascade_replay` |
| several answers | `ensemble`, `ballots`, `membership`, `ranker`, `skill_fit`, `fusion` |
| learning on | `online`, `posterior`, `exploration`, `context`, `feedback`, `bandit_file`; `champion` |
| | `contest` |
| off policy | `off_policy`, `served_log` |
| what it learns from | `training_data`, `training_table` |
| how good it is | `evaluate`, `folds`, `trials`, `out_of_fold`, `fold_trace`, `leaderboard` |
| | `scorecard`, `metrics`, `cost_curve`, `curves`, `honest` |
| on disk | `checkpoint`, `fields` |
"""
