package main

import (
	_ "embed"
	"html/template"
	"net/http"
)

// agentPage is where the portal shows its agents who asked for support.
const agentPage = "/agent"

//go:embed demo/agent.html
var agentHTML string

// agentView is one person on the agent's page, as the portal has them.
type agentView struct{ Kind, Name, Nickname, Locale, Email, Account, Subject string }

// showAgent answers with the page. What it shows is what the portal has, seals and
// tokens included. It is called with mu held.
func (p *portal) showAgent(w http.ResponseWriter) {
	var rows []agentView
	for _, r := range p.records {
		at := func(path ...string) string { return textAt(r.Data, path...) }
		switch r.Kind {
		case "session":
			rows = append(rows, agentView{Kind: "Session", Name: at("user", "displayName"), Nickname: at("user", "nickname"),
				Locale: at("user", "locale"), Email: at("user", "email"), Account: at("user", "accountId")})
		case "login":
			rows = append(rows, agentView{Kind: "Sign-in", Email: at("email")})
		case "code":
			rows = append(rows, agentView{Kind: "Code by e-mail", Email: at("email")})
		case "ticket":
			rows = append(rows, agentView{Kind: "Ticket", Name: at("requester", "name"), Email: at("requester", "email"), Subject: at("subject")})
		}
	}
	page, err := template.New("agent").Parse(agentHTML)
	if err != nil {
		http.Error(w, "the page is broken", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")
	_ = page.Execute(w, rows)
}

// textAt is the text at a path of members, or "".
func textAt(in map[string]any, path ...string) string {
	for i, name := range path {
		if i == len(path)-1 {
			s, _ := in[name].(string)
			return s
		}
		in, _ = in[name].(map[string]any)
	}
	return ""
}
