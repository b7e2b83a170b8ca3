"""A page on this machine on which a person drops a clip and sees what a model says of it: `hcep page model/`."""
