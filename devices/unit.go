package devices

// A Unit is a unit of measurement as SenML names it (RFC 8428, 12.1, and the
// registry that it establishes). Readings use these units, never multiples of them:
// Pa and not hPa, s and not ms, and a ratio as 0 to 1 ("/") and not in percent.
type Unit string

// The units of common devices. Others are written as in the registry.
const (
	None             Unit = ""      // a plain number: a load average, a level
	Meter            Unit = "m"     // length, distance
	Kilogram         Unit = "kg"    // mass
	Second           Unit = "s"     // duration
	Ampere           Unit = "A"     // current
	Kelvin           Unit = "K"     // temperature differences, colour temperature
	Celsius          Unit = "Cel"   // temperature
	Hertz            Unit = "Hz"    // frequency
	Newton           Unit = "N"     // force
	Pascal           Unit = "Pa"    // pressure
	Joule            Unit = "J"     // energy
	Watt             Unit = "W"     // power
	Volt             Unit = "V"     // voltage
	Ohm              Unit = "Ohm"   // resistance
	Farad            Unit = "F"     // capacitance
	Tesla            Unit = "T"     // magnetic flux density
	Lux              Unit = "lx"    // illuminance
	CubicMeter       Unit = "m3"    // volume
	MeterPerSecond   Unit = "m/s"   // speed
	Acceleration     Unit = "m/s2"  // acceleration
	FlowRate         Unit = "m3/s"  // flow
	Irradiance       Unit = "W/m2"  // radiant power on an area
	Degree           Unit = "deg"   // angle (RFC 8798)
	Latitude         Unit = "lat"   // degrees north
	Longitude        Unit = "lon"   // degrees east
	Acidity          Unit = "pH"    // acidity
	Decibel          Unit = "dB"    // ratio of powers
	DecibelWatt      Unit = "dBW"   // power level
	RelativeHumidity Unit = "%RH"   // 0 to 100
	Ratio            Unit = "/"     // a share, 0 to 1
	Count            Unit = "count" // counter
	PerSecond        Unit = "1/s"   // event rate
	Byte             Unit = "B"     // information (RFC 8798)
	BitPerSecond     Unit = "bit/s" // data rate
	Density          Unit = "kg/m3" // mass in a volume, particulate matter (RFC 8798)
	Siemens          Unit = "S"     // conductance
	Conductivity     Unit = "S/m"   // conductivity
	VoltAmpere       Unit = "VA"    // apparent power (RFC 8798)
	BatteryLevel     Unit = "%EL"   // remaining energy, 0 to 100
	BatteryLeft      Unit = "EL"    // remaining energy, in seconds
	BeatsPerMinute   Unit = "1/min" // event rate
)
