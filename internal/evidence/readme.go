package evidence

import (
	"bytes"
	"fmt"
)

// readme is README.txt.
func readme(s *Summary) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `Evidence of what left the isolated cloud of %s
%s

It is made by Isogate. To verify it you need the isogate program, this file as it
was downloaded, and the public key of the journal, which is one line like

    %s

TAKE THE KEY FROM SOMEWHERE ELSE. The key that is in here (isogate.pub) is for comparing:
whoever made another file could have put another key into it. Ask for the key at the
beginning of an audit, or take it from an earlier one: it stays the same as long as the
journal lives.

    isogate journal verify evidence.zip --key isogate.pub

checks, without a network and without a running system, that

  - the entries are, byte by byte and without a gap, those that the signed checkpoint covers,
    and all of the period up to the checkpoint
  - what is from before the period is proved to be in the same journal
  - each pack is the one whose digest the entries name
  - each receipt is signed by the landing whose key the pack names, and they follow one another
  - report.html and report.json say what follows from these entries, and nothing else
  - nothing is in this archive that is not checked

It exits with 0 if all of that is so, and with 1 if not, naming what is damaged first.

What it cannot show: that a consent from before the period was not left out (only those
that are here are proved), and what no entry tells of. An export of a journal from its
first entry on has no "before".

  report.html       read this; it prints well
  report.json       the same figures, for programs
  entries.jsonl     %d entries; also by itself an export that isogate journal verify takes,
                    and from which isogate journal prove ID --export makes proofs of single ones
  before/           from before the period: consents, and the pack that was in force; each is a
                    proof that isogate journal verify takes by itself
  edges/            the entries next to those of the period, proved: none is left out in between
  packs/            the packs that judged, each a directory named by its digest
  receipts.jsonl    what landings signed: entry, destination, and the signed note
  checkpoint        the signed checkpoint, over the first %d entries
  manifest.json     the SHA-256 of each file
`, s.Tenant, period(s.Period), s.Key, s.Count, s.Size)
	return b.Bytes()
}

// period says a period in words.
func period(p Period) string {
	switch {
	case p.Since.IsZero() && p.Before.IsZero():
		return "from its first entry on"
	case p.Since.IsZero():
		return "before " + moment(p.Before)
	case p.Before.IsZero():
		return "from " + moment(p.Since) + " on"
	}
	return "from " + moment(p.Since) + " to before " + moment(p.Before)
}
