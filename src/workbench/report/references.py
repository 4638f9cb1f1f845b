"""The works that a report cites, in order of their authors."""

REFERENCES = {
    "Altham 1971": "Altham, P. M. E. (1971). The analysis of matched proportions. Biometrika 58.",
    "Bell & McCaffrey 2002": "Bell, R. M. & McCaffrey, D. F. (2002). Bias reduction in standard errors for "
    "linear regression with multi-stage samples. Survey Methodology 28.",
    "Clopper & Pearson 1934": "Clopper, C. J. & Pearson, E. S. (1934). The use of confidence or fiducial "
    "limits illustrated in the case of the binomial. Biometrika 26.",
    "Cochran 1950": "Cochran, W. G. (1950). The comparison of percentages in matched samples. Biometrika 37.",
    "Conover 1999": "Conover, W. J. (1999). Practical nonparametric statistics, 3rd ed. Wiley.",
    "Deng et al. 2013": "Deng, A., Xu, Y., Kohavi, R. & Walker, T. (2013). Improving the sensitivity of "
    "online controlled experiments by utilizing pre-experiment data. WSDM.",
    "Efron & Tibshirani 1993": "Efron, B. & Tibshirani, R. J. (1993). An introduction to the bootstrap. "
    "Chapman & Hall.",
    "Fagerland et al. 2013": "Fagerland, M. W., Lydersen, S. & Laake, P. (2013). The McNemar test for binary "
    "matched-pairs data. BMC Medical Research Methodology 13:91.",
    "Fieller 1954": "Fieller, E. C. (1954). Some problems in interval estimation. Journal of the Royal "
    "Statistical Society B 16.",
    "Holm 1979": "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian "
    "Journal of Statistics 6.",
    "Imbens & Manski 2004": "Imbens, G. W. & Manski, C. F. (2004). Confidence intervals for partially "
    "identified parameters. Econometrica 72.",
    "McNemar 1947": "McNemar, Q. (1947). Note on the sampling error of the difference between correlated "
    "proportions or percentages. Psychometrika 12.",
    "Newcombe 1998": "Newcombe, R. G. (1998). Interval estimation for the difference between independent "
    "proportions. Statistics in Medicine 17.",
    "Phipson & Smyth 2010": "Phipson, B. & Smyth, G. K. (2010). Permutation p-values should never be zero. "
    "Statistical Applications in Genetics and Molecular Biology 9.",
    "Ramdas et al. 2023": "Ramdas, A., Gruenwald, P., Vovk, V. & Shafer, G. (2023). Game-theoretic "
    "statistics and safe anytime-valid inference. Statistical Science 38.",
    "Schuirmann 1987": "Schuirmann, D. J. (1987). A comparison of the two one-sided tests procedure and the "
    "power approach for assessing the equivalence of average bioavailability. Journal of Pharmacokinetics "
    "and Biopharmaceutics 15.",
    "Student 1908": "Student (1908). The probable error of a mean. Biometrika 6.",
    "Tango 1998": "Tango, T. (1998). Equivalence test and confidence interval for the difference in "
    "proportions for the paired-sample design. Statistics in Medicine 17.",
    "Waudby-Smith & Ramdas 2024": "Waudby-Smith, I. & Ramdas, A. (2024). Estimating means of bounded random "
    "variables by betting. Journal of the Royal Statistical Society B 86.",
    "Welch 1947": "Welch, B. L. (1947). The generalization of 'Student's' problem when several different "
    "population variances are involved. Biometrika 34.",
    "Welch 1951": "Welch, B. L. (1951). On the comparison of several mean values: an alternative approach. "
    "Biometrika 38.",
    "Wilson 1927": "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical "
    "inference. Journal of the American Statistical Association 22.",
}


def cited(sentences: list[str]) -> list[str]:
    """The works that the sentences name, in order of their authors.

    >>> cited(["Intervals are Wilson's (Wilson 1927)."])[0][:15]
    'Wilson, E. B. ('
    """
    return [work for key, work in REFERENCES.items() if any(key in sentence for sentence in sentences)]
