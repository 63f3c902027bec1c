package wire

// The bodies of the frames that come once a connection, or once a failure. Those of
// messages and answers, which come all the time, are read by hand (reader). A body
// must be zero before it is decoded, since msgp leaves an absent field as it was, and
// checked (checkBody), since msgp follows any nesting and, where an int has 32 bits,
// any length.

//go:generate go tool msgp -io=false -tests=false -unexported

//msgp:limit arrays:256 maps:256
//msgp:marshal ignore statusBody goodbyeBody
//msgp:size ignore statusBody goodbyeBody

type helloBody struct {
	Version  uint64    `msg:"v"`
	Role     string    `msg:"r"`
	User     string    `msg:"u,omitempty"`
	Password string    `msg:"p,omitempty"`
	Name     string    `msg:"n,omitempty"`
	Types    *[]string `msg:"t,omitempty"` // nil: it does not say; none is something else
	Credits  uint64    `msg:"c,omitempty"`
	Frame    uint64    `msg:"f,omitempty"`
}

type statusBody struct {
	Code   uint64 `msg:"s"`
	Reason string `msg:"e"`
}

type goodbyeBody struct {
	Reason string `msg:"e"`
}
