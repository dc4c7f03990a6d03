package policy

func (r *reader) readNever(n *node, transits []*Transit) {}
