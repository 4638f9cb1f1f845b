"""Is B better than A: arithmetic on plain arrays, no I/O. docs/statistics.md has every function.

| question | module |
|---|---|
| is one mean larger | `paired`, `two_sample`, `clusters`, `relative`, `cuped`, `permutation`, `bootstrap` |
| is one proportion larger | `proportions`, `paired_proportions`, `beta_binomial` |
| is it as good | `equivalence` |
| what does quality cost, how long does it take | `ratios`, `quantiles`, `pareto` |
| several at once | `multiplicity`, `subgroups` |
| may I look now | `always_valid`, `decision`; below it: `e_process`, `bet_mixture` |
| | `confidence_sequence`, `betting_sequence`, `sequential` |
| how many prompts | `power`, `power_proportions` |
| is the design sound | `sample_ratio`, `missing` |
| who wins in pairs | `ranking`; below it: `battles`, `ties`, `strength_fit` |
| is the judge to be trusted | `agreement`, `krippendorff`, `judge`, `calibration`, `prediction_powered` |
| what would another router have done | `off_policy`, `policy_log`, `promotion` |
"""
