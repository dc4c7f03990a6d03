package seal

func appendID(dst []byte, id ID) []byte      { panic("seal: not yet") }
func parseID(s string) (ID, error)           { panic("seal: not yet") }
func epochText(e EpochID) string             { panic("seal: not yet") }
func parseEpochID(s string) (EpochID, error) { panic("seal: not yet") }
