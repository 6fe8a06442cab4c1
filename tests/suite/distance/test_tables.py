"""What of a grade is shown and written."""

import json
import math

from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade
from driftboard.suite.distance.tables import plain_grade


def test_a_grade_is_plain_data_without_nan():
    estimate = Estimate(0.5, math.nan, math.nan, 1)
    grade = Grade("digits-split", "0" * 64, estimate, 0.9, None, False, "one seed")
    plain = plain_grade(grade)
    assert plain == {
        "distance": 0.5,
        "distance_low": None,
        "distance_high": None,
        "reliability": 0.9,
        "seeds": 1,
        "level": None,
        "crosses_cut_off": False,
        "note": "one seed",
    }
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
