package landing

import (
	"context"
	"io"
	"strings"
)

// Several landings of one service may stand behind one address, as a cluster (see
// vault.Cluster). Which of them holds a key is the vault's business: an edge asks
// its own vault, and that one its peers. All that is done here is to have it ask
// once for the seals of a piece of a body, and not once for each.

// ahead has the vault ask, for each piece of a body that is read, for what other
// landings hold.
func (v *view) ahead(ctx context.Context, r io.Reader) io.Reader {
	if v.viewer == nil || !v.l.cfg.Vault.Clustered() {
		return r
	}
	return askAhead{r, func(piece []byte) { v.Ahead(ctx, piece) }}
}

// aheadOf does the same for seals that are asked for one by one.
func (v *view) aheadOf(ctx context.Context, seals []string) {
	if v.viewer != nil && v.l.cfg.Vault.Clustered() {
		v.Ahead(ctx, []byte(strings.Join(seals, "\n")))
	}
}

type askAhead struct {
	r   io.Reader
	ask func(piece []byte)
}

// Read implements [io.Reader].
func (a askAhead) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	a.ask(p[:n])
	return n, err
}
