package hub

import "time"

// healthView is what the template of the health page sees.
type healthView struct {
	*Health
	// Agree says that all gateways that run judge by one pack.
	Agree bool
	Soon  time.Time // what ends before it ends soon
}

// healthPage is whether everything runs that the promises rest on.
func (h *Hub) healthPage(v *visit) error {
	out, err := h.Health(v.Context(), v.now)
	if err != nil {
		return err
	}
	packs := map[string]bool{}
	for _, g := range out.Gateways {
		if !g.Stopped {
			packs[g.Pack] = true
		}
	}
	return v.show("health", "Health", healthView{Health: out, Agree: len(packs) < 2, Soon: v.now.Add(endsSoon)})
}

// showHealth is health for programs.
func (h *Hub) showHealth(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	out, err := h.Health(c.Context(), c.now)
	if err != nil {
		return nil, err
	}
	return ok(out)
}
