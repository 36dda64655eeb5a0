package main

import (
	"math"
	"testing"
)

func TestAFigureIsTheMedianWithItsSpread(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   figure
	}{
		{[]float64{5}, figure{5, 5, 5}},
		{[]float64{9, 1, 5}, figure{5, 1, 9}},
		{[]float64{4, 1, 3, 2}, figure{2.5, 1, 4}},
	} {
		if got := summarize(c.values); got != c.want {
			t.Errorf("summarize(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := summarize(nil); !math.IsNaN(got.Median) {
		t.Errorf("summarize(nil) = %v, want no number", got)
	}
}

// A round in which the whole machine was slow does not change the ratio.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	t.Parallel()
	got := ratios([]float64{120, 12, 110}, []float64{100, 10, 100})
	if want := (figure{1.2, 1.1, 1.2}); got != want {
		t.Errorf("ratios = %v, want %v", got, want)
	}
	if got := ratios([]float64{1, 2}, []float64{0, 1}); got != (figure{2, 2, 2}) {
		t.Errorf("ratios = %v, want that a round without a base is left out", got)
	}
}
