package landing_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/isogate/isogate/landing"
)

// A landing that answers the same to everything, so that the example runs alone.
func pretend() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"values":[{"state":"revealed","kind":"string","value":"Mia <3"}]}`)
	}))
}

const stored = "igs1cbifqydprcvlpxo25bs6o52vlr4aaaaaaaaaaaaiaaaaadfslogex6lnyohjbadezk3eqvcf3y6tr7x4d3ddmbpoctgdjqr5inbsx2krhglajh5yrtcyys4epfo2morxf3cul3k325nqdfdjnz7wa"

func ExampleClient_Reveal() {
	server := pretend()
	defer server.Close()
	c := landing.Client{
		URL:   server.URL,
		HTTP:  &http.Client{Transport: server.Client().Transport, Timeout: 5 * time.Second},
		Token: "the token of a viewer",
	}
	page, err := c.Reveal(context.Background(), []byte("<p>From "+stored+"</p>"), landing.HTML)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(page))
	// Output: <p>From Mia &lt;3</p>
}

func ExampleClient_Open() {
	server := pretend()
	defer server.Close()
	c := landing.Client{URL: server.URL, HTTP: server.Client(), Token: "the token of a viewer"}
	values, err := c.Open(context.Background(), stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range values {
		fmt.Println(v.State, v, v.Text())
	}
	// Output: revealed REDACTED Mia <3
}
