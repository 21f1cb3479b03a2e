// Plot names its style by this class; fixed, so that the style's hash is.
export const CLASS_NAME = "agentcache-plot";
