package policy

type testCase struct{}

func (r *reader) readCases(n *node, p *Pack) []*testCase { return nil }
