package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// contestant does the work of a question for about d and says how much it did
// per second (or whatever unit the question has).
type contestant struct {
	name string
	turn func(ctx context.Context, d time.Duration) (float64, error)
}

// series is what one contestant reached, one figure per round.
type series struct {
	name    string
	figures []float64
}

func (s series) sorted() []float64 { return slices.Sorted(slices.Values(s.figures)) }

func (s series) median() float64 {
	f := s.sorted()
	if n := len(f); n%2 == 0 {
		return (f[n/2-1] + f[n/2]) / 2
	}
	return f[len(f)/2]
}

func (s series) min() float64 { return slices.Min(s.figures) }
func (s series) max() float64 { return slices.Max(s.figures) }

// spread is half the distance between the smallest and the largest figure, as
// a part of the median.
func (s series) spread() float64 { return (s.max() - s.min()) / 2 / s.median() }

// race gives every contestant one turn per round, beginning with another one
// each time, after one short turn each that does not count.
func (b *bench) race(ctx context.Context, what string, turn time.Duration, cs []contestant) ([]series, error) {
	out := make([]series, len(cs))
	for i, c := range cs {
		out[i].name = c.name
		if _, err := c.turn(ctx, turn/5); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", what, c.name, err)
		}
	}
	for round := range b.rounds {
		for i := range cs {
			at := (i + round) % len(cs)
			f, err := cs[at].turn(ctx, turn)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", what, cs[at].name, err)
			}
			out[at].figures = append(out[at].figures, f)
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", what, round+1, b.rounds)
	}
	return out, nil
}

// repeat calls f until d has passed and returns calls per second.
func repeat(ctx context.Context, d time.Duration, f func() error) (float64, error) {
	var n int
	begin := time.Now()
	for {
		for range 4 {
			if err := f(); err != nil {
				return 0, err
			}
			n++
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if took := time.Since(begin); took >= d {
			return float64(n) / took.Seconds(), nil
		}
	}
}

// find returns the series of a name.
func find(ss []series, name string) series {
	i := slices.IndexFunc(ss, func(s series) bool { return s.name == name })
	return ss[i]
}

// best returns the series with the highest median of those that are not named.
func best(ss []series, except ...string) series {
	var others []series
	for _, s := range ss {
		if !slices.Contains(except, s.name) {
			others = append(others, s)
		}
	}
	return slices.MaxFunc(others, func(a, b series) int { return cmp.Compare(a.median(), b.median()) })
}
