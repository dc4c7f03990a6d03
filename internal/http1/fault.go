package http1

import "fmt"

// Reason is why a message was refused. Its String is what the client is told.
// The zero value is no reason that anything should have; it answers 400 too.
type Reason uint8

// The reasons, in the order in which a message can meet them.
const (
	Unspecified Reason = iota

	// Of the head as such.

	HeadTimeout
	HeadTruncated
	PlainText
	LeadingEmptyLine
	BareLF
	BareCR
	HeaderTooLarge
	LineTooLong
	TooManyFields

	// Of the request line.

	BadRequestLine
	BadMethod
	MethodNotAllowed
	MethodUnknown
	BadVersion
	VersionUnsupported
	HTTP2Preface
	TargetTooLong
	TargetForm
	TargetFormProxy
	TargetNoPath
	TargetByte
	TargetFragment
	TargetBackslash
	TargetEscape
	TargetEncodedSlash
	TargetEncodedControl
	TargetDoubleEncoded
	TargetEncoding
	TargetDotSegment
	TargetEmptySegment
	TargetAuthority

	// Of the header fields.

	LineFolding
	MissingColon
	SpaceBeforeColon
	BadFieldName
	AliasFieldName
	BadFieldValue
	DuplicateField
	MissingHost
	BadHost
	HostMismatch
	BadContentLength
	LengthAndCoding
	BadTransferCoding
	CodingInHTTP10
	ConnectBody
	BadExpect
	UpgradeRefused
	WebSocketRefused
	H2CRefused
	BadConnection

	// Of the body.

	BodyTooLarge
	BodyTimeout
	BodyTruncated
	BodyAborted
	BadChunkSize
	ChunkTooLarge
	ChunkExtension
	BadChunkEnd
	BadTrailer
	ForbiddenTrailer

	// Of responses alone.

	BadStatusLine
	SwitchedProtocol
	BodyNotAllowed
	NoLength
)

type reasonRow struct {
	status int
	text   string
}

var reasons = [...]reasonRow{
	Unspecified:          {400, "the message is malformed"},
	HeadTimeout:          {408, "the head did not arrive in time"},
	HeadTruncated:        {400, "the connection ended inside the head"},
	PlainText:            {400, "this port speaks TLS; use https"},
	LeadingEmptyLine:     {400, "there is an empty line before the first line"},
	BareLF:               {400, "a line ends with a bare LF; use CR LF"},
	BareCR:               {400, "a CR is not followed by LF"},
	HeaderTooLarge:       {431, "the head is too large"},
	LineTooLong:          {431, "a header line is too long"},
	TooManyFields:        {431, "there are too many header fields"},
	BadRequestLine:       {400, "the request line is not method, space, target, space, version"},
	BadMethod:            {400, "the method has a character that methods do not have"},
	MethodNotAllowed:     {405, "the method is not allowed here"},
	MethodUnknown:        {501, "the method is unknown; methods are upper case"},
	BadVersion:           {400, "the request line does not end with HTTP/1.1"},
	VersionUnsupported:   {505, "the HTTP version is not supported; use HTTP/1.1"},
	HTTP2Preface:         {505, "this is HTTP/2, which was not agreed on; use HTTP/1.1, or TLS and ALPN"},
	TargetTooLong:        {414, "the request target is too long"},
	TargetForm:           {400, "the request target has a form that is not accepted here; begin it with /"},
	TargetFormProxy:      {400, "this is a forward proxy; use CONNECT with host:port, or a target that begins with http:// or https://"},
	TargetNoPath:         {400, "the request target has no path; write / behind its host"},
	TargetByte:           {400, "the request target has a character that must be percent-encoded"},
	TargetFragment:       {400, "the request target has a fragment"},
	TargetBackslash:      {400, "the request target has a backslash, raw or encoded"},
	TargetEscape:         {400, "the request target has an invalid percent escape"},
	TargetEncodedSlash:   {400, "the path has an encoded slash"},
	TargetEncodedControl: {400, "the request target has an encoded control character"},
	TargetDoubleEncoded:  {400, "the path is percent-encoded twice"},
	TargetEncoding:       {400, "the request target does not decode to UTF-8"},
	TargetDotSegment:     {400, "the path has a dot segment, raw or encoded"},
	TargetEmptySegment:   {400, "the path has an empty segment (//)"},
	TargetAuthority:      {400, "the authority in the request target is malformed"},
	LineFolding:          {400, "a header line begins with white space (folding is obsolete)"},
	MissingColon:         {400, "a header line has no colon"},
	SpaceBeforeColon:     {400, "a header line has white space before its colon"},
	BadFieldName:         {400, "a header field has a malformed name"},
	AliasFieldName:       {400, "a header field's name differs from a standard one by _ for - alone"},
	BadFieldValue:        {400, "a header field's value has a control character"},
	DuplicateField:       {400, "a header field that has one value is there more than once"},
	MissingHost:          {400, "the Host field is missing"},
	BadHost:              {400, "the Host field is not a host with an optional port"},
	HostMismatch:         {400, "the Host field differs from the request target"},
	BadContentLength:     {400, "Content-Length is not one plain decimal number"},
	LengthAndCoding:      {400, "there are both Content-Length and Transfer-Encoding"},
	BadTransferCoding:    {501, "Transfer-Encoding is not exactly chunked"},
	CodingInHTTP10:       {400, "there is Transfer-Encoding in an HTTP/1.0 request"},
	ConnectBody:          {400, "CONNECT has no body; leave out Content-Length and Transfer-Encoding"},
	BadExpect:            {417, "Expect is not exactly 100-continue"},
	UpgradeRefused:       {501, "upgrades are refused, for what follows one could not be judged; leave out Upgrade"},
	WebSocketRefused:     {501, "upgrades are refused, WebSocket among them, for its frames are not judged; use HTTP requests"},
	H2CRefused:           {501, "upgrades are refused, h2c among them; agree on HTTP/2 by TLS and ALPN, or use HTTP/1.1"},
	BadConnection:        {400, "Connection names something other than close or keep-alive"},
	BodyTooLarge:         {413, "the body is too large"},
	BodyTimeout:          {408, "the body did not arrive fast enough"},
	BodyTruncated:        {400, "the connection ended inside the body"},
	BodyAborted:          {400, "the body is no longer read"},
	BadChunkSize:         {400, "a chunk size is not a plain hexadecimal number"},
	ChunkTooLarge:        {400, "a chunk size has too many digits"},
	ChunkExtension:       {400, "a chunk has an extension"},
	BadChunkEnd:          {400, "a chunk does not end with CR LF where its size says"},
	BadTrailer:           {400, "the trailer section is malformed or too large"},
	ForbiddenTrailer:     {400, "a trailer field may only be a header field"},
	BadStatusLine:        {502, "the status line is malformed"},
	SwitchedProtocol:     {502, "the server changes the protocol, which nobody asked it to"},
	BodyNotAllowed:       {502, "the response announces a body that its status does not have"},
	NoLength:             {502, "the response does not say where its body ends"},
}

func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r].text
	}
	return fmt.Sprintf("invalid(%d)", uint8(r))
}

// Status is the status code that answers the reason.
func (r Reason) Status() int {
	if int(r) < len(reasons) {
		return reasons[r].status
	}
	return reasons[Unspecified].status
}

// Fault is one malformed message. It never quotes what the message said.
type Fault struct {
	Status int
	Reason Reason
	Detail string // a name or a position that helps to find the place; may be ""
}

// Error tells the reason and the place.
func (f *Fault) Error() string {
	if f.Detail == "" {
		return f.Reason.String()
	}
	return f.Reason.String() + ": " + f.Detail
}

func fault(r Reason) *Fault { return &Fault{Status: r.Status(), Reason: r} }

func faultAt(r Reason, detail string) *Fault {
	return &Fault{Status: r.Status(), Reason: r, Detail: detail}
}
