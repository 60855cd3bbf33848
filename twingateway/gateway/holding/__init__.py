"""Which node holds which device: claims, grants, repair after a restored store, collection of what is gone."""
