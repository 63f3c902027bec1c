package wire

// The bodies of the native dialect's frames. Their fields are documented in the
// package comment. text and raw alias the frame; a body is reset before it is
// decoded, since msgp leaves a field that is absent as it was.

//go:generate go tool msgp -io=false -tests=false -unexported

//msgp:limit arrays:256 maps:256
//msgp:marshal ignore messageBody answerBody commandBody statusBody goodbyeBody
//msgp:size ignore messageBody answerBody commandBody statusBody goodbyeBody

type messageBody struct {
	Type   text   `msg:"t"`
	From   text   `msg:"f"`
	To     raw    `msg:"r"`
	Origin text   `msg:"o"`
	Number uint64 `msg:"n"`
	When   int64  `msg:"w"`
	Hops   uint16 `msg:"h"`
	Data   raw    `msg:"d"`
}

type answerBody struct {
	Commands raw  `msg:"a"`
	Reason   text `msg:"e"`
}

type commandBody struct {
	Verb text `msg:"c"`
	Data raw  `msg:"d"`
	To   raw  `msg:"r"`
	Type text `msg:"t"`
}

type statusBody struct {
	Code   uint64 `msg:"s"`
	Reason text   `msg:"e"`
}

type goodbyeBody struct {
	Reason text `msg:"e"`
}

type helloBody struct {
	Version  uint64   `msg:"v"`
	Role     string   `msg:"r"`
	User     string   `msg:"u,omitempty"`
	Password string   `msg:"p,omitempty"`
	Name     string   `msg:"n,omitempty"`
	Types    []string `msg:"t,omitempty"`
	Credits  uint64   `msg:"c,omitempty"`
	Frame    uint64   `msg:"f,omitempty"`
}
