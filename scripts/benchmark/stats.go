package main

import (
	"math"
	"slices"
)

// A figure is the median of some rounds, with the lowest and the highest.
type figure struct {
	Median, Low, High float64
}

// summarize makes a figure of a value of each round. Of none it is not a
// number.
func summarize(values []float64) figure {
	if len(values) == 0 {
		return figure{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return figure{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

// ratios divides round by round, so that what slows a whole round down is not
// in the result. Rounds of which either side has nothing are left out.
func ratios(values, base []float64) figure {
	var out []float64
	for i, b := range base {
		if i < len(values) && b > 0 && values[i] > 0 {
			out = append(out, values[i]/b)
		}
	}
	return summarize(out)
}
