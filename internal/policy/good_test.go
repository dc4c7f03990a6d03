package policy

import "testing"

func TestGood(t *testing.T) {
	if got := good(t).mistakes(t); got != "" {
		t.Fatal(got)
	}
	p := good(t).load(t)
	report, err := p.Test(instantOfTests)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		for _, f := range c.Failures {
			t.Error(f)
		}
	}
	if len(report.Cases) != 5 || p.Cases() != 5 {
		t.Errorf("%d cases", len(report.Cases))
	}
}
