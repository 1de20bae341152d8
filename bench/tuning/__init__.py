"""`nacelle tune`: finds the settings with which a model is fastest on this machine.

candidates  which settings are worth trying here (pure)
search      history of trials → what to try next, and the best so far (pure)
verdict     ratios of alternating pairs → better, not better, or measure again (pure)
agreement   how far texts or vectors may differ from those in full precision (pure)
workloads   what the hosts compute while they are timed
run         throw-away hosts, in pairs
report      the table
"""
