package hub

import (
	_ "embed" // the API's description
	"encoding/json"
)

// openapi.json describes every operation of the API; a test holds it against them.
//
//go:embed openapi.json
var openAPI []byte

func (h *Hub) openAPI(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	return ok(json.RawMessage(openAPI))
}
